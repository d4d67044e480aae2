#version 330
// Light on what the geometry pass saw: sun, sky, lamps, reflections, haze.
uniform sampler2D albedo_map, normal_map, ids_map, sky_map;
uniform sampler2DShadow near_shadow, far_shadow, sky_shadow;
uniform mat4 world_to_near, world_to_far, world_to_above, world_to_clip;
uniform vec3 eye, right, up, forward;  // right and up are as long as half the picture at depth 1
uniform vec2 jitter;                   // of this sample, in screens
uniform vec2 size_px;
uniform float turn;      // of the random patterns of this sample
uniform vec3 to_sun, sun, sky_light, ground_light, haze;
uniform float haze_m, wet, sky_gain;
uniform float near_texel_m, far_texel_m, reach_m;
const int MAX_LAMPS = 28;
uniform int num_lamps;
uniform vec4 lamp_at[MAX_LAMPS];      // xyz, reach m
uniform vec4 lamp_colour[MAX_LAMPS];  // rgb, cosine of the cone's half angle; -1 = all around
uniform vec3 lamp_axis[MAX_LAMPS];

in vec2 screen;
out vec4 out_light;

float noise(vec2 at) { return fract(52.9829189 * fract(dot(at, vec2(0.06711056, 0.00583715)))); }

vec3 sky_towards(vec3 ray, float lod) {
    float u = atan(ray.y, ray.x) / 6.2831853;
    float v = 1.0 - asin(clamp(ray.z, 0.0, 1.0)) / 1.5707963;
    return textureLod(sky_map, vec2(u, v), lod).rgb;
}

float shadow(sampler2DShadow map, mat4 to_map, vec3 at, float spread, float slack, float angle) {
    vec3 p = (to_map * vec4(at, 1.0)).xyz * 0.5 + 0.5;
    float total = 0.0;
    for (int k = 0; k < 4; k++) {
        float a = angle + 1.5708 * float(k);
        float r = spread * (0.35 + 0.3 * float(k));
        total += texture(map, vec3(p.xy + r * vec2(cos(a), sin(a)), p.z - slack));
    }
    return total * 0.25;
}

// Alchemy ambient occlusion: neighbours on the screen that stand before the surface.
float openness(vec3 at, vec3 normal, float depth, float angle) {
    float radius_px = clamp(0.55 * size_px.x * 0.5 / (length(right) * depth), 2.5, 70.0);
    float dark = 0.0;
    for (int k = 0; k < 6; k++) {
        float share = (float(k) + 0.5) / 6.0;
        float a = angle + 2.4 * float(k) + 6.28 * share;
        vec2 to = screen + radius_px * share * vec2(cos(a), sin(a)) / size_px;
        float d = textureLod(ids_map, to, 0.0).g;
        vec2 s = 2.0 * to - 1.0 - jitter;
        vec3 v = eye + (forward + s.x * right + s.y * up) * d - at;
        float vv = dot(v, v);
        dark += max(0.0, dot(v, normal) - 0.012 * depth * 0.1 - 0.01) / (vv + 0.02)
              * step(vv, 1.2) * 0.35;
    }
    return max(0.0, 1.0 - dark / 6.0 * 2.4);
}

vec3 mirrored(vec3 away, float gloss, vec3 at) {
    // A street is a canyon: low reflections meet the houses opposite, still lower ones the road.
    float lod = 5.0 * (1.0 - gloss);
    vec3 above = sky_towards(vec3(away.xy, max(away.z, 0.02)), lod) * sky_gain;
    float turn_to = atan(away.y, away.x);
    float roof = 0.30 + 0.10 * sin(turn_to * 7.0 + at.x * 0.03) + 0.06 * sin(turn_to * 17.0 + at.y * 0.05);
    vec3 walls = (sky_light * 0.22 + sun * 0.10) * vec3(0.62, 0.56, 0.50);
    vec3 road = (sky_light * 0.9 + sun * 0.35) * 0.10;
    vec3 low = mix(road, walls, smoothstep(-0.06, 0.05, away.z));
    return mix(low, above, smoothstep(roof - 0.05, roof + 0.05, away.z));
}

// A march along the mirrored ray through the depth of the picture: wet roads show what stands on them.
vec3 wet_mirror(vec3 at, vec3 away, float start, vec3 otherwise) {
    float step_m = 0.35, travelled = 0.15 + step_m * start;
    for (int k = 0; k < 18; k++) {
        vec3 p = at + away * travelled;
        vec4 clip = world_to_clip * vec4(p, 1.0);
        if (clip.w < 0.2) break;
        vec2 to = 0.5 + 0.5 * clip.xy / clip.w;
        if (to.x < 0.0 || to.x > 1.0 || to.y < 0.0 || to.y > 1.0) break;
        float behind = clip.w - textureLod(ids_map, to, 0.0).g;
        if (behind > 0.0 && behind < 1.2 + 1.5 * step_m) {
            vec4 hit = textureLod(albedo_map, to, 0.0);
            vec4 n = textureLod(normal_map, to, 0.0);
            vec3 c = hit.rgb * hit.rgb;
            return c * (sky_light * 0.55 + ground_light * 0.3 + sun * 0.35 * max(dot(n.xyz, to_sun), 0.0) + n.w);
        }
        travelled += step_m;
        step_m *= 1.22;
    }
    return otherwise;
}

vec3 lamps(vec3 at, vec3 normal, vec3 ray, float gloss) {
    vec3 total = vec3(0.0);
    for (int k = 0; k < num_lamps; k++) {
        vec3 to = lamp_at[k].xyz - at;
        float far = length(to), reach = lamp_at[k].w;
        if (far > reach) continue;
        to /= far;
        float fade = 1.0 - far / reach;
        float cone = smoothstep(lamp_colour[k].a, mix(lamp_colour[k].a, 1.0, 0.45), -dot(to, lamp_axis[k]));
        float facing = max(dot(normal, to), 0.0);
        float shine = pow(max(dot(reflect(ray, normal), to), 0.0), 60.0) * gloss * 2.0;
        total += lamp_colour[k].rgb * (facing + shine) * cone * fade * fade / (1.0 + 0.06 * far * far);
    }
    return total;
}

void main() {
    vec2 ids = textureLod(ids_map, screen, 0.0).rg;
    vec2 s = 2.0 * screen - 1.0 - jitter;
    vec3 along = forward + s.x * right + s.y * up;
    vec3 ray = normalize(along);
    float fogged = 1.0;
    if (ids.g > 2500.0) {
        float rise = max(ray.z, 0.0);
        vec3 sky = sky_towards(ray, 0.0) * sky_gain;
        out_light = vec4(mix(sky, haze, exp(-rise * haze_m / 45.0)), 1.0);
        return;
    }
    vec4 base = textureLod(albedo_map, screen, 0.0);
    vec4 facing = textureLod(normal_map, screen, 0.0);
    vec3 albedo = base.rgb * base.rgb, normal = normalize(facing.xyz), at = eye + along * ids.g;
    float gloss = base.a, trait = round(fract(ids.r) * 8.0);
    bool is_leaf = trait == 1.0, is_wet = trait == 2.0;
    float angle = 6.2831853 * (noise(gl_FragCoord.xy) + turn);

    float cosine = dot(normal, to_sun);
    float squarely = is_leaf ? 0.30 + 0.55 * max(cosine, 0.0) + 0.25 * max(dot(ray, to_sun), 0.0) : max(cosine, 0.0);
    float freely = 0.0;
    if (squarely > 0.0 && sun.g > 0.02) {
        vec3 lifted = at + normal * (0.03 + 0.002 * ids.g);
        vec3 n = abs((world_to_near * vec4(at, 1.0)).xyz);
        if (max(n.x, n.y) < 0.96)
            freely = shadow(near_shadow, world_to_near, lifted, 0.045 / reach_m, 0.0006, angle);
        else
            freely = shadow(far_shadow, world_to_far, lifted + normal * far_texel_m, 0.0006, 0.0012, angle);
    }
    // The sky is an umbrella of light: what stands above keeps it off.
    vec3 a = abs((world_to_above * vec4(at, 1.0)).xyz);
    float above = max(a.x, a.y) < 0.97
        ? shadow(sky_shadow, world_to_above, at + normal * 0.30, 0.8 / reach_m, 0.0012, angle) : 1.0;
    float openly = is_leaf ? 0.75 : openness(at, normal, ids.g, angle);
    float canopy = mix(0.38, 1.0, above) * openly;
    float upward = 0.5 + 0.5 * normal.z;
    vec3 toward_sun = vec3(1.0 + 0.25 * dot(normal.xy, to_sun.xy));
    vec3 light = sky_light * upward * canopy * toward_sun + ground_light * (1.0 - 0.6 * upward) * openly;
    light += sun * squarely * freely;
    light += lamps(at, normal, ray, gloss) * openly;
    vec3 colour = albedo * (light + facing.w);

    if (gloss > 0.02) {
        vec3 n = normal;
        if (is_wet) {
            float ripple = noise(floor(at.xy * 40.0)) - 0.5;
            n = normalize(normal + 0.010 * vec3(ripple, noise(floor(at.yx * 40.0) + 7.0) - 0.5, 0.0));
        }
        vec3 away = reflect(ray, n);
        float view = max(-dot(ray, n), 0.0), slant = pow(1.0 - view, 5.0);
        float share = gloss * (is_wet ? 0.03 + 0.72 * slant : 0.05 + 0.75 * slant);
        vec3 mirror = mirrored(away, gloss, at);
        if (is_wet && share > 0.03) mirror = wet_mirror(at + normal * 0.02, away, fract(angle), mirror);
        float openings = is_wet ? 1.0 : mix(0.4, 1.0, openly);
        colour = colour * (1.0 - share) + mirror * share * openings;
        vec3 half_way = normalize(to_sun - ray);
        float hot = pow(max(dot(n, half_way), 0.0), mix(20.0, 500.0, gloss * gloss));
        colour += sun * freely * hot * gloss * mix(0.25, 2.2, gloss);
    }
    float clear = exp(-pow(ids.g / haze_m, 1.15));
    colour = mix(haze, colour, clear);
    out_light = vec4(colour, 1.0);
}
