# Distill Studio on a CPU or GPU host.
#
#   docker build -t distill-studio --build-arg PIP_EXTRA="--extra-index-url <an index with the CPU build>" .
#   docker build -t distill-studio --build-arg GPU=1 .            # CUDA build of torch, fused kernels
#   docker build -t distill-studio --build-arg GPU=1 --build-arg VLLM=1 .     # and the vLLM server
#   docker run -p 7860:7860 -e DISTILL_STUDIO_PASSWORD=... -v studio:/data [--gpus all] distill-studio
#
# Without a password the app shows strangers only a page that says "locked". vLLM on several GPUs
# wants --ipc=host as well. A teacher on the host itself (Ollama) has to be allowed:
# -e DISTILL_STUDIO_ALLOW_HOSTS=host.docker.internal:11434.
FROM python:3.11-slim

ARG PIP_EXTRA=""
ARG GPU=""
ARG VLLM=""

RUN useradd --create-home --uid 1000 studio && install -d -o studio /data
WORKDIR /app

# The requirements alone first: a change of the code does not install everything again.
COPY requirements.txt requirements-starter.txt requirements-gpu.txt requirements-vllm.txt ./
# Triton, in Liger's kernels and in vLLM, compiles its launchers when it runs.
RUN if [ -n "$GPU$VLLM" ]; then apt-get update \
    && apt-get install -y --no-install-recommends gcc g++ && rm -rf /var/lib/apt/lists/*; fi
RUN pip install --no-cache-dir $PIP_EXTRA -r requirements.txt \
    && pip install --no-cache-dir --no-deps $PIP_EXTRA -r requirements-starter.txt \
    && if [ -n "$GPU" ]; then pip install --no-cache-dir $PIP_EXTRA -r requirements-gpu.txt; fi

# vLLM in an environment of its own, where the app looks for it. Always the GPU build: no GPU is seen
# while an image is built, so nothing is chosen by looking.
RUN if [ -n "$VLLM" ]; then python -m venv .venv-vllm \
    && .venv-vllm/bin/pip install --no-cache-dir $PIP_EXTRA -r requirements-vllm.txt; fi

COPY app.py LICENSE README.md ./
COPY assets assets
COPY distill_studio distill_studio

USER studio
ENV DISTILL_STUDIO_HOME=/data DISTILL_STUDIO_HOST=0.0.0.0 DISTILL_STUDIO_PORT=7860 \
    HF_HOME=/data/huggingface PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 7860
HEALTHCHECK --start-period=60s CMD python -c "import socket; socket.create_connection(('127.0.0.1', 7860), 5)"
CMD ["python", "app.py"]
