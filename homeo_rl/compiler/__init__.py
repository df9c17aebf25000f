"""A compiler from functions of spike trains to spiking networks that are proved to compute them.

After "On the Universal Representation Property of Spiking Neural Networks" (Hundrieser, Tuchel, Kong, Schmidt-Hieber,
arXiv 2512.16872), which shows that such networks exist; constructions, counts and proofs here are our own
(docs/compiler.md).
"""
