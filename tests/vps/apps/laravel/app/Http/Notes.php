<?php

namespace App\Http;

use Illuminate\Support\Facades\DB;

class Notes
{
    public function __invoke()
    {
        session(['visits' => session('visits', 0) + 1]);
        DB::table('notes')->count();
        $cached = app()->configurationIsCached() && app()->routesAreCached();

        return view('notes', ['cached' => $cached ? 'cached' : 'not cached']);
    }
}
