"""Which galaxies, which part of the sky, and which split."""

from skytrace.sky.confusers import CONFUSER_PRECEDENCE, ConfuserOptions, confuser_categories
from skytrace.sky.crossmatch import crossmatch, pairs_within
from skytrace.sky.selection import LEDGER_COLUMNS, TIERS, SelectionOptions, select_galaxies, select_positions
from skytrace.sky.selection_parity import ParityOptions, named_selections, parity_report, selection_counts
from skytrace.sky.split import SPLITS, SplitOptions, assign_split, healpix_cell, split_of_cells, withhold_anchors
from skytrace.sky.split_verification import BALANCE_COLUMNS, verify_split
from skytrace.sky.strata import NOBS_Z_BINS, StrataOptions, galaxy_hash, nobs_z_bin, stratify, stratify_chunks
from skytrace.sky.systems import SYSTEM_COLUMNS, SystemOptions, friends_of_friends, resolve_systems

__all__ = [
    "BALANCE_COLUMNS",
    "CONFUSER_PRECEDENCE",
    "LEDGER_COLUMNS",
    "NOBS_Z_BINS",
    "SPLITS",
    "SYSTEM_COLUMNS",
    "TIERS",
    "ConfuserOptions",
    "ParityOptions",
    "SelectionOptions",
    "SplitOptions",
    "StrataOptions",
    "SystemOptions",
    "assign_split",
    "confuser_categories",
    "crossmatch",
    "friends_of_friends",
    "galaxy_hash",
    "healpix_cell",
    "named_selections",
    "nobs_z_bin",
    "pairs_within",
    "parity_report",
    "resolve_systems",
    "select_galaxies",
    "select_positions",
    "selection_counts",
    "split_of_cells",
    "stratify",
    "stratify_chunks",
    "verify_split",
    "withhold_anchors",
]
