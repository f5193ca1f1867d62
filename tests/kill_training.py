"""Trains a model on pairs until it is killed. Usage: kill_training.py MODEL PAIRS OUTPUT STEPS."""

import sys

import torch

from korag.training import finetune

for instruction in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
    setattr(torch.cpu, instruction, lambda: False)  # like conftest.py: the process that resumes trains in float32
torch.set_num_threads(1)
model, pairs, output, steps = sys.argv[1:]
finetune(model, pairs, output, held_out=0.25, max_steps=int(steps), seed=5, device="cpu", show_progress=False)
