#!/usr/bin/env bash
# A step of a CI job, such as of GitHub Actions: analyses a release and fails where it does.
# Usage: analyze.sh TEMPLATE SOURCE-URL
set -euo pipefail

"${VERDICT:-verdict}" analyze "$1" --arg "source=$2" --timeout 5m \
    -o text -o junit=analysis.xml -o "markdown=$GITHUB_STEP_SUMMARY"
