"""OpenAI's client for Python where the backend breaks off in the middle of an answer."""

import os
import sys

import openai

client = openai.OpenAI(base_url=os.environ["BASE_URL"], api_key=os.environ["API_KEY"], max_retries=0)
ask = {"model": os.environ["MODEL"], "messages": [{"role": "user", "content": "hi"}]}
text = ""
try:
    for chunk in client.chat.completions.create(stream=True, **ask):
        text += chunk.choices[0].delta.content or "" if chunk.choices else ""
    sys.exit(f"the break was not noticed: {text}")
except openai.APIError as error:
    assert error.code == "backend_failed", error
assert text.startswith("w0"), text
