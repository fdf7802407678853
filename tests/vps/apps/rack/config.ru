run ->(env) { [200, { "content-type" => "text/plain" }, ["Rack in #{ENV["PROJECT_NAME"]}"]] }
