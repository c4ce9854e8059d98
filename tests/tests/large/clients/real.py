"""OpenAI's client for Python against a real model."""

import os

import openai

client = openai.OpenAI(base_url=os.environ["BASE_URL"], api_key=os.environ["API_KEY"], max_retries=0)
MODEL = os.environ["MODEL"]
ask = {"model": MODEL, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 12, "temperature": 0}

assert MODEL in [model.id for model in client.models.list()]
answer = client.chat.completions.create(**ask)
assert answer.usage.completion_tokens > 0 and answer.choices[0].message.content, answer
chunks = list(client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **ask))
text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
assert text == answer.choices[0].message.content, (text, answer)
assert chunks[-1].usage.completion_tokens == answer.usage.completion_tokens
plain = client.completions.create(model=MODEL, prompt="Once upon a time", max_tokens=8)
assert plain.choices[0].text, plain
try:
    client.chat.completions.create(**{**ask, "temperature": "hot"})
    raise SystemExit("a temperature that is no number was taken")
except openai.BadRequestError as error:
    # In the backend's own words.
    assert error.status_code == 400, error
