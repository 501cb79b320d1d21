"""The figures of the report, as SVG that follows the page's colours."""
