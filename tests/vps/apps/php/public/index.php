<?php
echo "PHP in ", getenv("PROJECT_NAME"), " at ", $_SERVER["REQUEST_URI"];
