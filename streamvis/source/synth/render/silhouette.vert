#version 330
// Every object at one depth of its own, nearer than those before it: with the depth test on, each
// pixel passes once per object, however its triangles overlap, and an occlusion query counts it.
uniform mat4 world_to_clip;
uniform float layer_depth;

in vec3 position;

in vec4 row_x;
in vec4 row_y;
in vec4 row_z;

void main() {
    vec4 local = vec4(position, 1.0);
    vec4 clip = world_to_clip * vec4(dot(row_x, local), dot(row_y, local), dot(row_z, local), 1.0);
    gl_Position = vec4(clip.xy, layer_depth * clip.w, clip.w);
}
