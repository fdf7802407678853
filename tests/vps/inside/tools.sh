# What applications of all kinds are made with: the distribution's tools, and those that only the
# registries of Node and Python have, where every account and every build can see them.
set -eux
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends nodejs npm python3-venv pipx pipenv golang-go cargo \
    php-cli php-fpm php-pgsql php-mbstring php-xml composer ruby ruby-bundler ruby-rack puma git \
    build-essential openssh-client netcat-openbsd
# The registries of PHP and Ruby are not within every reach: their frameworks are the distribution's.
apt-get install -y -qq --no-install-recommends php-laravel-framework php-symfony-framework-bundle \
    php-symfony-console php-symfony-dotenv php-symfony-yaml php-symfony-routing php-symfony-http-kernel \
    ruby-rails ruby-pg
npm install --global --no-audit --no-fund pnpm@9 yarn@1 bun@1 node@22 deno@2
export PIPX_HOME=/usr/local/lib/pipx PIPX_BIN_DIR=/usr/local/bin
pipx install uv
pipx install poetry
# A pool of the distribution's own: projects have theirs.
systemctl disable --now "$(basename /etc/init.d/php*-fpm)" || true
