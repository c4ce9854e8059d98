"""Ollama's client for Python against the shim, which is to pass for an Ollama: what the client makes of its answers is
what the agent may take for Ollama's."""

import os
import sys

import ollama

client = ollama.Client(host=os.environ["OLLAMA_URL"])
MODEL, NEW = os.environ["MODEL"], os.environ["NEW"]
ask = {"messages": [{"role": "user", "content": "Say hello."}], "options": {"num_predict": 8, "temperature": 0}}

assert [model.model for model in client.list().models] == [MODEL]
assert client.list().models[0].size == 1_000_000 and client.list().models[0].details.format == "gguf"
assert client.ps().models == [], "nothing was asked yet"
assert client.show(MODEL).details.family == "llama"

whole = client.chat(model=MODEL, **ask)
assert whole.message.content and whole.done and whole.eval_count > 0, whole
parts = list(client.chat(model=MODEL, stream=True, **ask))
assert "".join(part.message.content for part in parts) == whole.message.content, parts
assert parts[-1].done and not parts[0].done and parts[-1].eval_count == whole.eval_count
assert [model.model for model in client.ps().models] == [MODEL]
plain = client.generate(model=MODEL, prompt="Once upon a time", options={"num_predict": 8})
assert plain.response and plain.done, plain

progress = list(client.pull(NEW, stream=True))
assert progress[0].status == "pulling manifest" and progress[-1].status == "success", progress
layers = [line for line in progress if line.digest]
assert layers[-1].completed == layers[-1].total == 2_000_000, layers
assert sorted(model.model for model in client.list().models) == sorted([MODEL, NEW])
assert client.chat(model=NEW, **ask).message.content
client.delete(NEW)
assert client.pull(NEW).status == "success", "without a stream"

for wrong in (lambda: client.chat(model="no-such-model", **ask), lambda: client.show("no-such-model")):
    try:
        wrong()
        sys.exit("an unknown model was answered")
    except ollama.ResponseError as error:
        assert error.status_code == 404 and "not found" in error.error, error
try:
    list(client.pull("no-such-model", stream=True))
    sys.exit("an unknown model was pulled")
except ollama.ResponseError as error:
    assert "file does not exist" in error.error, error
