Laravel migrated, {{ $cached }}, visit {{ session("visits") }}
