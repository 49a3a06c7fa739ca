"""Replies to a conversation from an engine in a process of its own, piece by piece.

`client.py` starts `python -m rollouts.talk` and speaks with it over a socket, one JSON object a
line. A process of its own can be stopped within a reply, and several checkpoints can answer beside
each other, which vLLM does not do in one process.

The client sends `{"messages", "temperature", "max_tokens", "seed"}`, and `{"stop": true}` to end a
reply. The worker sends `{"ready": max_model_len}` once, and for a reply any number of `{"text"}`
and one `{"end", "text", "tokens"}`; `{"overflow", "room"}` where the conversation leaves no room,
and `{"error", "remedy"}` where there is no reply.

Importing this package loads neither torch nor vllm."""
