"""spectral_emulator: what is SN 2011fe made of?"""
