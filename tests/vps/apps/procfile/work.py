import time

while True:
    print("at work", flush=True)
    time.sleep(5)
