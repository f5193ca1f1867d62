"""Trains the model and pairs it is given until somebody kills it. Usage: kill_training.py MODEL PAIRS OUTPUT STEPS."""

import sys

import torch

from korag.training import finetune

torch.set_num_threads(1)
model, pairs, output, steps = sys.argv[1:]
finetune(model, pairs, output, held_out=0.25, max_steps=int(steps), seed=5, device="cpu", show_progress=False)
