-- catalog: the names under which models are known. An alias is one public name for several names of agents.
--
-- The pool's hash has the field `aliases`: JSON, {alias = {name…}}.
local catalog = {}

-- The aliases that are set.
function catalog.aliases()
  local json = redis.call('HGET', calls.pool, 'aliases')
  return json and cjson.decode(json) or {}
end

-- An agent's models, {name = {vram, parallel, loaded}}, with those that an alias stands for also under that; a model of its
-- own by that name goes before.
function catalog.named(models)
  local all = {}
  for name, model in pairs(models) do
    all[name] = model
  end
  for alias, names in pairs(catalog.aliases()) do
    for _, name in ipairs(names) do
      local model = models[name]
      if model and not all[alias] then
        all[alias] = { vram = model.vram, parallel = model.parallel, loaded = model.loaded, of = name }
      end
    end
  end
  return all
end

-- The models of an agent by their own names alone.
function catalog.own(models)
  local own = {}
  for name, model in pairs(models) do
    if not model.of then
      own[name] = model
    end
  end
  return own
end

return catalog
