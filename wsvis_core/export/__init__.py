"""Result files in the formats of other tools (docs/export.md): YouTube-VIS server, COCO, MOTS, CVAT."""
