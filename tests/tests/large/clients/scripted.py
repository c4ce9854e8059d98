"""OpenAI's client for Python against a backend whose answers are known: `w0 w1 w2 …`."""

import os
import sys

import openai

client = openai.OpenAI(base_url=os.environ["BASE_URL"], api_key=os.environ["API_KEY"], max_retries=0)
MODEL = os.environ["MODEL"]
ask = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}

assert MODEL in [model.id for model in client.models.list()], "the model is not listed"
assert client.models.retrieve(MODEL).id == MODEL

whole = client.chat.completions.with_raw_response.create(**ask)
answer = whole.parse()
assert answer.choices[0].message.content.split()[:2] == ["w0", "w1"], answer
assert whole.headers["x-titan-agent"] and whole.headers["x-request-id"]

text = "".join(chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(stream=True, **ask) if chunk.choices)
assert text.split()[:2] == ["w0", "w1"], text

# What we do not know passes through.
client.chat.completions.create(extra_body={"top_k": 7, "mirostat": 2}, **ask)

try:
    client.chat.completions.create(model="no-such-model", messages=ask["messages"])
    sys.exit("an unknown model was answered")
except openai.NotFoundError as error:
    assert error.code == "model_not_found" and error.param == "model", error
try:
    openai.OpenAI(base_url=os.environ["BASE_URL"], api_key="wrong", max_retries=0).models.list()
    sys.exit("a wrong key was good")
except openai.AuthenticationError as error:
    assert error.code == "invalid_api_key", error
try:
    client.chat.completions.create(model=MODEL, messages=[])
    sys.exit("a request without messages was answered")
except openai.BadRequestError as error:
    assert error.param == "messages", error
