<?php

Illuminate\Support\Facades\Route::get('/', App\Http\Notes::class);
