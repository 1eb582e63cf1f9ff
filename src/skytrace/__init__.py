"""skytrace: astronomy pipelines whose every reported number can be traced to the raw sky it came from."""

__version__ = "0.1.0"
