"""What the libraries' transforms do to pixels: tables of rows, and walkers of containers.

One table for each library (`torchvision_rows`, `timm_rows`, `openmmlab_rows`), which knows no
container; one walker for each way of stringing transforms together (`torch_walker`,
`openmmlab_walker`), which knows the tables. The public functions are
`patchdp.interop.<library>.plan_crop`.
"""
