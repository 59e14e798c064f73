# cellseg-nb with JupyterLab.
#
#   docker build -t cellseg-nb --build-arg TORCH_INDEX=ADDRESS .   CPU: the address of PyTorch's index of CPU builds,
#                                                                  see pytorch.org/get-started; without it torch is
#                                                                  several GB larger, and works all the same
#   docker build -t cellseg-nb --build-arg DEVICE=cuda .           NVIDIA: torch brings CUDA; the host needs a driver
#   docker run --rm -p 8888:8888 -v "$PWD":/work cellseg-nb        (NVIDIA: with --gpus all), then open what it prints
ARG PYTHON=3.13
FROM python:${PYTHON}-slim-bookworm
ARG DEVICE=cpu
ARG TORCH_INDEX=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
RUN case "${DEVICE}" in cpu|cuda) ;; *) echo "DEVICE must be cpu or cuda, not ${DEVICE}" >&2; exit 1 ;; esac
RUN python -m pip install --constraint constraints.txt torch \
    $(test "${DEVICE}" = cpu -a -n "${TORCH_INDEX}" && echo --index-url "${TORCH_INDEX}")
COPY cellseg_nb cellseg_nb
COPY notebooks notebooks
COPY data data
RUN python -m pip install --constraint constraints.txt ".[lab,brains]" && cellseg-nb doctor
RUN useradd --create-home --uid 1000 student && mkdir /work && chown student /work
USER student
WORKDIR /work
RUN cellseg-nb copy /home/student/notebooks
EXPOSE 8888
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--no-browser", "/home/student/notebooks"]
