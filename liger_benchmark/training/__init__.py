"""Exactly what decides what a run measures; a change here makes every result a new one."""
