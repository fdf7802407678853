from django.db import migrations, models


def write(apps, editor):
    apps.get_model("notes", "Note").objects.create(text="Django migrated")


class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel("Note", [("id", models.BigAutoField(primary_key=True)), ("text", models.CharField(max_length=80))]),
        migrations.RunPython(write),
    ]
