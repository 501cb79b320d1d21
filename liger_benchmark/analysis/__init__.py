"""From result folders to what the report states: tables, intervals, claims, headline, caveats."""
