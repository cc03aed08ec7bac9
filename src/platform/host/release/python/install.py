# Run by the agent in a sandbox, as the site's user: makes an environment of what a release requires.
# Arguments: the environment's folder, the requirements, a folder of wheels or nothing, the server that must be among them.
# Ends with one of the codes that `mod.rs` knows; what it prints is for people.
import glob
import os
import subprocess
import sys

env, requirements, wheels, server = sys.argv[1:]
print(f"python {sys.version.split()[0]}", flush=True)
try:
    import venv

    venv.EnvBuilder(symlinks=True, with_pip=False).create(env)
except Exception as error:
    print(f"ERROR: {error}")
    sys.exit(10)

# pip as the distribution has it for new environments. It stays out of this one, which nobody is to change.
places = ["/usr/share/python-wheels"]
try:
    import ensurepip

    places.insert(0, os.path.join(os.path.dirname(ensurepip.__file__), "_bundled"))
except ImportError:
    sys.exit(11)
found = sorted(wheel for place in places for wheel in glob.glob(os.path.join(place, "pip-*.whl")))
if not found:
    sys.exit(11)

python = os.path.join(env, "bin", "python")
pip = [python, os.path.join(found[-1], "pip"), "--require-virtualenv", "--no-input", "--disable-pip-version-check", "--no-color"]
pip += ["install", "--no-cache-dir", "--progress-bar", "off", "--no-warn-script-location", "--requirement", requirements]
if wheels:
    pip += ["--no-index", "--find-links", wheels]
if subprocess.call(pip):
    sys.exit(12)
found = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"
if subprocess.call([python, "-I", "-c", found, server]):
    sys.exit(13)

# They lead out of the environment; whoever takes it over makes them anew.
for name in os.listdir(os.path.join(env, "bin")):
    link = os.path.join(env, "bin", name)
    if name.startswith("python") and os.path.islink(link):
        os.unlink(link)
