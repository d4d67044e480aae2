"""A subscriber: prints what every camera sees. Usage: python subscriber.py tcp://127.0.0.1:7700"""

import sys

from streamvis.client import DetMessage, EmbMessage, Subscriber

with Subscriber(sys.argv[1], kinds=("det", "emb")) as subscriber:
    for message in subscriber:  # ends when the pipeline stops
        name = f"{message.camera} frame {message.frame_index}"
        match message:
            case DetMessage(detections=found, model=model):
                for box, score, class_id, track_id in zip(
                    found.xyxy, found.score, found.class_id, found.track_id, strict=True
                ):
                    print(name, model.classes[class_id], f"#{track_id} {score:.2f}", box)
            case EmbMessage(embedding=vector):
                print(name, "embedding", vector.shape, "made by", message.model.name)

print(f"stopped; {sum(subscriber.gaps.values())} messages missed")
