"""The photometric measures for torch tensors, on the CPU or a GPU: many photos of one size at once, the same values.

Each file is the twin of the file of its name in ``attributes``, where the measures are defined and explained.
"""
