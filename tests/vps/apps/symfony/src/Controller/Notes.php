<?php

namespace App\Controller;

use Symfony\Component\HttpFoundation\Response;

class Notes
{
    public function __invoke(): Response
    {
        return new Response('Symfony in '.getenv('PROJECT_NAME'));
    }
}
