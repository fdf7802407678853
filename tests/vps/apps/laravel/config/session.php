<?php

return [
    'driver' => 'file',
    'lifetime' => 120,
    'files' => storage_path('framework/sessions'),
    'lottery' => [2, 100],
    'cookie' => 'notes',
    'path' => '/',
    'domain' => null,
    'secure' => false,
    'http_only' => true,
    'same_site' => 'lax',
    'encrypt' => false,
    'expire_on_close' => false,
];
