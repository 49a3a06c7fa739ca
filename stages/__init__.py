"""The stages, one package a kind. This file and every `config.py` stay light: no torch, no vllm."""
