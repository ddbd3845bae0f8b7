#!/bin/sh
# The command line of tensorflow/serving's image; later flags win.
exec python -m serving.tf_model_server --port=8500 --rest_api_port=8501 \
    --model_name="${MODEL_NAME}" --model_base_path="${MODEL_BASE_PATH}/${MODEL_NAME}" \
    --enable_batching=true "$@"
