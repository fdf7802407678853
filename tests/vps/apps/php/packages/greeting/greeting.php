<?php

namespace Greeting;

function say(string $what): string
{
    return htmlspecialchars($what);
}
