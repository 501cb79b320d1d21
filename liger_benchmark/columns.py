"""Names of the columns of a run's history that the analysis and the report read.

`training/measurement.py` writes them. They are the blog's names where the blog has the column.
Memory is in MB of 2**20 bytes.
"""

from __future__ import annotations

# Kernels and graphs that a step compiled.
STEP_COMPILATIONS = "step_compilations"
# Peaks of one step.
STEP_PEAK_RESERVED_MB = "step_peak_memory_reserved_MB"
STEP_PEAK_RESIDENT_SET_MB = "step_peak_resident_set_MB"
# Peaks over all steps since the warm-up.
TOTAL_PEAK_ALLOCATED_MB = "total_peak_memory_allocated_MB"
TOTAL_PEAK_RESERVED_MB = "total_peak_memory_reserved_MB"
TOTAL_PEAK_RESIDENT_SET_MB = "total_peak_resident_set_MB"
# Averages over all steps since the warm-up.
AVG_TOKENS_PER_SECOND = "avg_tokens_per_second"
AVG_REAL_TOKENS_PER_SECOND = "avg_real_tokens_per_second"
AVG_LOOP_TOKENS_PER_SECOND = "avg_loop_tokens_per_second"
AVG_ENERGY_J_PER_TOKEN = "avg_energy_J_per_token"
