Rails.application.routes.draw do
  root "notes#index"
end
