"""Spectra of supernovae: atomic tables, simulations; how observed ones are brought to one grid, and their features.

Names are loaded on first use.
"""

from skytrace.compute.lazy_names import lazy_names

_HOME = {
    "EmulatorOptions": "emulator_options",
    "SpectrumEmulator": "emulator",
    "emulator_from_arrays": "emulator",
    "emulator_to_arrays": "emulator",
    "jax_predict": "emulator",
    "train_emulator": "emulator_training",
    "AtomicData": "atomic_data",
    "AtomicOptions": "atomic_options",
    "EJECTA_PARAMETERS": "ejecta",
    "ParameterSpace": "parameter_space",
    "SimulatedSpectra": "simulate",
    "SimulationOptions": "simulation_options",
    "atomic_from_arrays": "atomic_data",
    "atomic_to_arrays": "atomic_data",
    "draw_latin_hypercube": "parameter_space",
    "ejecta_zones": "ejecta",
    "layers_as_zones": "composition",
    "load_atomic_data": "atomic_lines",
    "log10_compression": "parameter_space",
    "modes_of_zones": "abundance_profiles",
    "narrowed": "parameter_space",
    "nickel_decay": "ejecta",
    "partition_function": "atomic_data",
    "physical_problems": "ejecta",
    "simulate_spectra": "simulate",
    "stage_one_space": "parameter_space",
    "stage_space": "parameter_space",
    "read_line_list": "line_tables",
    "LikelihoodOptions": "inference_options",
    "SpectrumSamplerOptions": "inference_options",
    "coverage_of_mocks": "inference_coverage",
    "infer_stage": "inference_stages",
    "inference_model": "inference_model",
    "spectrum_target": "inference_target",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
