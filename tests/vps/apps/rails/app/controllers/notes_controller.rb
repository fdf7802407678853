class NotesController < ActionController::Base
  def index
    render plain: "Rails migrated, #{Note.count} notes"
  end
end
