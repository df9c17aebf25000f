(function () {
"use strict";
{% include "theme.js" %}
{% include "values.js" %}
{% include "choices.js" %}
{% include "clips.js" %}
})();
