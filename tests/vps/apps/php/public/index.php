<?php

require __DIR__.'/../vendor/autoload.php';

session_start();
$_SESSION['visits'] = ($_SESSION['visits'] ?? 0) + 1;
echo Greeting\say('PHP in '.getenv('PROJECT_NAME')), ', visit ', $_SESSION['visits'];
