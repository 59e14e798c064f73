"""Networks and their losses: WNet3D, SoftNCuts, MONAI's supervised networks."""
