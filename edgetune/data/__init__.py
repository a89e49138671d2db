"""Data: files in; conversations, examples with exact masks and packed batches out.

``sources`` reads rows, ``formats`` makes conversations of them, ``template`` renders and masks
them, ``dataset`` splits, ``packing`` makes batches. ``report`` and ``preview`` show what there is.
"""
