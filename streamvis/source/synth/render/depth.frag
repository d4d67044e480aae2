#version 330
uniform sampler2DArray textures;

in vec2 v_uv;
flat in vec2 v_material;

void main() {
    if (int(v_material.y + 0.5) == 1 && textureLod(textures, vec3(v_uv, v_material.x), 1.0).a < 0.5)
        discard;
}
