"""A policy as one safetensors file: every parameter by name, and in the header's metadata how they act.

The parameters are those of a run's policy bundle. `docs/exchange.md` has a reader in thirty lines that needs torch and
safetensors alone.
"""

import json

import numpy as np
import safetensors.numpy

from homeo_rl.agents.controller import Controller
from homeo_rl.exchange.exported_file import ExportedFile, fingerprint
from homeo_rl.run import versions
from homeo_rl.spec import RunSpec, dump

FORMAT = "homeo-rl policy 1"


def export_safetensors(controller: Controller, run: RunSpec) -> ExportedFile:
    """Return the file; its metadata are JSON texts ``controller`` and ``versions``, and where the policy comes from."""
    tensors = {
        name: np.ascontiguousarray(value.detach().cpu().numpy()) for name, value in controller.state_dict().items()
    }
    metadata = {
        "format": FORMAT,
        "controller": json.dumps(dump(controller.spec), sort_keys=True),
        "spec_sha256": fingerprint(controller.spec),
        "env": run.env,
        "env_kwargs": json.dumps(run.env_kwargs, sort_keys=True),
        "agent": run.agent,
        "versions": json.dumps(versions(), sort_keys=True),
    }
    notes = (f"{len(tensors)} tensors; metadata: {', '.join(metadata)}",)
    return ExportedFile(safetensors.numpy.save(tensors, metadata), notes)
