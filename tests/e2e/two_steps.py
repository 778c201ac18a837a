"""A pipeline of two small steps in the controller's image: the first takes its time, the second ends with the status it is given."""

from kfp import dsl

NAME = "e2e-two-steps"
IMAGE = "sluice/controller:0.1.0"


@dsl.container_component
def fetch(seconds: int):
    return dsl.ContainerSpec(image=IMAGE, command=["python", "-c", "import sys, time; time.sleep(int(sys.argv[1]))"], args=[seconds])


@dsl.container_component
def count(status: int):
    return dsl.ContainerSpec(image=IMAGE, command=["python", "-c", "import sys; sys.exit(int(sys.argv[1]))"], args=[status])


@dsl.pipeline(name=NAME)
def two_steps(status: int = 0, seconds: int = 0):
    first = fetch(seconds=seconds).set_caching_options(False)
    count(status=status).after(first).set_caching_options(False)
