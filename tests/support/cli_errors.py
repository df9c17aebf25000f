"""Command lines and files that are wrong, with a part of what is said to them. RUN and OUT stand for a run's folder and
a new one.
"""

from __future__ import annotations

from pathlib import Path

BAD = [
    (["train", "--env", "HalfCheeta-v5"], "did you mean 'HalfCheetah-v5'"),
    (["train", "--algo", "pp0"], "did you mean 'ppo'"),
    (["train", "--agent", "popsam"], "did you mean 'popsan'"),
    (["train", "-params", "learning_rat:1"], "did you mean 'learning_rate'"),
    (["train", "-params", "learning_rate"], "expected name:value"),
    (["train", "-params", "learning_rate:linear_1"], "expected a number or lin_NUMBER"),
    (["train", "-params", "gamma:high"], "gamma: expected float"),
    (["train", "-params", "learning_rate:[1, 2"], "expected a YAML value"),
    (["train", "-params", "n_envs:two"], "expected int"),
    (["train", "-params", "agent_kwargs:{hiden: [2]}"], "hiden"),
    (["train", "-params", "agent_kwargs:{steps: 0}"], "spike steps"),
    (["train", "--env", "toy_envs:Choice-v0", "--algo", "sac"], "action space"),
    (["train", "--env", "CartPole-v1", "--algo", "td3"], "action space"),
    (["train", "-params", "batch_size:1.5"], "batch_size: expected int"),
    (["train", "--algo", "td3", "-params", "train_freq:[1, 2, 3]"], "train_freq: expected"),
    (["train", "-n", "0"], "--n-timesteps"),
    (["train", "-n", "many"], "--n-timesteps: expected a whole number, got 'many'"),
    (["train", "--alg", "ppo"], "--algo"),
    (["train", "--seed", "-1"], "--seed"),
    (["train", "--device", "gpu"], "--device"),
    (["train", "--conf", "nowhere.yml"], "expected a YAML file, found none"),
    (["train", "--gym-packages", "nowhere"], "cannot be imported"),
    (["train", "--env", "nowhere:X-v0"], "cannot be imported"),
    (["train", "--env-kwargs", "stepz:3", "--env", "toy_envs:Point-v0"], "check --env-kwargs"),
    (["train", "--homeostasis-in-training", "dwann"], "did you mean 'dwam'"),
    (["train", "--homeostasis-in-training", "dwam+sleep"], "needs no memory"),
    (["train", "--homeostasis-in-training", "dwam-paper", "--agent", "mlp"], "agent 'mlp' is an MLP"),
    (["train", "--randomise", "sences"], "did you mean 'senses'"),
    (["train", "--randomise", "weights"], "got damage of the network"),
    (["train", "--randomise", "nowhere.yaml"], "--randomise nowhere.yaml: expected a suite file, found none"),
    (["train", "--frame-stack", "0"], "--frame-stack: expected a whole number of 1 to 64, got 0"),
    (["evaluate", "nowhere"], "expected a run folder"),
    (["evaluate"], "expected RUN"),
    (["evaluate", "RUN", "--suite", "paper-mujoko"], "did you mean 'paper-mujoco'"),
    (["evaluate", "RUN", "--suite", "nowhere.yaml"], "found none"),
    (["evaluate", "RUN", "--homeostasis", "none,dwan"], "did you mean 'dwam'"),
    (["evaluate", "RUN", "--homeostasis", "dwam:eta=much"], "dwam:eta=much"),
    (["evaluate", "RUN", "--episodes", "0"], "--episodes"),
    (["evaluate", "RUN", "--num-envs", "0"], "--num-envs"),
    (["evaluate", "RUN", "--best"], "no such policy"),
    (["report", "RUN"], "expected a finished evaluation"),
    (["report"], "expected RUNS"),
    (["import", "popsan", "nowhere.npz", "--env", "HalfCheetah-v5", "--out", "OUT"], "nowhere.npz: "),
    (["import", "popzan", "nowhere.npz", "--env", "HalfCheetah-v5", "--out", "OUT"], "popsan"),
    (["enjoy", "RUN", "--condition", "weights-zerro"], "did you mean 'weights-zero'"),
    (["enjoy", "RUN", "--video", "film.avi"], "expected a name that ends in"),
    (["enjoy", "RUN", "--video", "nowhere/film.gif"], "expected an existing folder"),
    (["train", "--algo", "td3", "-params", "train_freq:[2, days]"], "train_freq: expected"),
    (["train", "--worker-timeout", "0"], "--worker-timeout"),
    (["train", "--vec-env", "workerz"], "did you mean 'workers'"),
    (["train", "--algo", "sac", "-params", "buffer_size:10000000000"], "GB"),
    (["train", "--imp", "neuronn"], "initial"),
    (["train", "--conf", "list.yml"], "list.yml"),
    (["train", "--conf", "tag.yml"], "tag.yml"),
    (["train", "--conf", "other.yml"], "other.yml"),
    (["evaluate", "RUN", "--suite", "version.yaml"], "version"),
    (["evaluate", "RUN", "--suite", "kind.yaml"], "did you mean"),
    (["evaluate", "RUN", "--suite", "severity.yaml"], "severities: expected numbers in [0, 1]"),
    (["evaluate", "RUN", "--suite", "dirty.yaml"], "without degradations"),
    (["evaluate", "RUN", "--suite", "tabs.yaml"], "tabs.yaml"),
    (["evaluate", "RUN", "--homeostasis", "none,none"], "given twice"),
    (["compile", "count(prox, ", "--inputs", "prox"], "expected"),
    (["compile", "count(prox, 2, window=3)"], "--inputs"),
    (["inspect", "nowhere"], "expected a run folder"),
    (["flarn"], "unknown command"),
    (["trian"], "did you mean 'train'"),
]

_CLEAN = "  - {name: clean}\n"
FILES = {
    "list.yml": "- 1\n- 2\n",
    "tag.yml": "InvertedPendulum-v5: !!python/object/apply:os.system ['touch canary']\n",
    "other.yml": "Hopper-v5: {learning_rate: 1e-3}\n",
    "version.yaml": f"name: mine\nconditions:\n{_CLEAN}",
    "kind.yaml": "name: mine\nversion: 1\nconditions:\n"
    + _CLEAN + "  - {name: hurt, degradations: [{kind: weights-zerro}]}\n",
    "severity.yaml": "name: mine\nversion: 1\nconditions:\n"
    + _CLEAN + "  - {name: hurt, severities: [2.0], degradations: [{kind: weights-zero}]}\n",
    "dirty.yaml": "name: mine\nversion: 1\nconditions:\n  - {name: hurt, degradations: [{kind: weights-zero}]}\n",
    "tabs.yaml": "name: mine\n\tversion: 1\n",
}  # fmt: skip


def write_files(folder: Path) -> None:
    """Write the files that the command lines name."""
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
