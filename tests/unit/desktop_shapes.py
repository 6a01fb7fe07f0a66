"""Code of the shapes that Codex Desktop's two places have had, by the build they came with.

Written for the tests: names, structure and data flow are those of the builds, the rest is not
there. Every text defines ``pick(models, allowed)`` and ``recent()``, so that it can be run.
"""

from __future__ import annotations

import re

#: A function that is asked about one model, as since 26.727, and the one that asks it.
_ASKING = (
    "function Za({authMethod:a,availableModels:b,defaultModel:c,models:d,useHiddenModels:e}){let f=[];"
    "return d.forEach(g=>{if(Zb({additionalAvailableModels:null,authMethod:a,availableModels:b,"
    "model:g,useHiddenModels:e})){f.push(g)}}),{models:f}}"
    "globalThis.pick=(a,b)=>Za({authMethod:`apikey`,availableModels:b,models:a,useHiddenModels:!0}).models;"
    # What decides for a tool of the agent; not the picker.
    "async function Zc(a,b){let i=a.get(b),r=`apikey`;return [].filter("
    "e=>i.useHiddenModels&&r!==`amazonBedrock`?i.availableModels.has(e.model):!e.hidden)}"
)
_CALLED = (
    "globalThis.pick=(a,b)=>Yc({authMethod:`apikey`,availableModels:b,defaultModel:`x`,models:a,"
    "useHiddenModels:!0}).models;"
)
_READS = (
    "function Xa(a){return{availableModels:new Set(a.m),useHiddenModels:a.h===!0,defaultModel:a.d}}"
)

PICKERS = {
    "26.422": _READS
    + "function Ya(a,c){return b=>{let d=[];b.forEach(f=>{if(c.useHiddenModels?c.availableModels.has(f.model)"
    ":!f.hidden){d.push(f)}});return d}}"
    "globalThis.pick=(a,b)=>Ya(`apikey`,{useHiddenModels:!0,availableModels:b})(a);",
    "26.519": _READS
    + "function Yb(a,c){let u=c.useHiddenModels&&a!==`amazonBedrock`,d;return d=b=>{let e=[];b.forEach(f=>{"
    "if(u?c.availableModels.has(f.model):!f.hidden){e.push(f)}});return e},d}"
    "globalThis.pick=(a,b)=>Yb(`apikey`,{useHiddenModels:!0,availableModels:b})(a);",
    "26.601": "function Yc({authMethod:a,availableModels:b,defaultModel:c,models:d,useHiddenModels:e}){"
    "let f=[],g=null,h=e&&a!==`amazonBedrock`;return d.forEach(i=>{if(h?b.has(i.model):!i.hidden){"
    "f.push({...i})}}),{models:f,defaultModel:g}}" + _CALLED,
    "26.707": "function Yc({authMethod:a,availableModels:b,defaultModel:c,includeUltraReasoningEffort:k,models:d,"
    "useHiddenModels:e}){let f=[],g=null,h=e&&a!==`amazonBedrock`,j=d.some(m=>m.efforts?.some(({reasoningEffort:m})"
    "=>m===`max`));return d.forEach(i=>{if(h?b.has(i.model):!i.hidden){let n=k?i.efforts:[];f.push({...i,n})}}),"
    "{models:f,defaultModel:g,j}}" + _CALLED,
    "26.727": _ASKING
    + "function Zb({additionalAvailableModels:e,authMethod:t,availableModels:n,model:r,useHiddenModels:i})"
    "{return e?.has(r.model)===!0||(i&&t!==`amazonBedrock`?n.has(r.model):!r.hidden)}",
    "26.814": _ASKING
    + "function Zb({additionalAvailableModels:e,authMethod:t,availableModels:n,isCustomModelProvider:r,model:i,"
    "useHiddenModels:a}){return e?.has(i.model)===!0||i.model!==`codex-auto-review`&&"
    "(a&&!r&&t!==`amazonBedrock`?n.has(i.model):!i.hidden)}",
    "26.825": "function Zb({additionalAvailableModels:e,authMethod:t,availableModels:n,hasConfiguredModelCatalog:r,"
    "isCustomModelProvider:i,model:a,useHiddenModels:o}){return e?.has(a.model)===!0||"
    "a.model!==`codex-auto-review`&&(r&&!a.hidden||(o&&!i&&t!==`amazonBedrock`?n.has(a.model):!a.hidden))}"
    + _ASKING,
    "26.1002": _ASKING
    + "function Zb({additionalAvailableModels:e,apiKeyDaybreakSupported:t,authMethod:n,availableModels:r,"
    "hasConfiguredModelCatalog:i,isCustomModelProvider:a,model:o,useHiddenModels:s}){"
    "let c=o.availableAccessPrograms?.cyber;return n===`apikey`&&!t&&c!=null&&c.length>0&&!c.includes(`standard`)?!1:"
    "e?.has(o.model)===!0||o.model!==`codex-auto-review`&&(i&&!o.hidden||(s&&!a&&n!==`amazonBedrock`?"
    "r.has(o.model)||n===`apikey`&&t&&!o.hidden&&c?.some(e=>e!==`standard`)===!0:!o.hidden))}",
}

_RUN = (
    "globalThis.recent=()=>{let s,w=new Wa;w.recentConversationSortKey=`updated_at`;"
    "w.params={hostId:`x`,requestClient:{sendRequest:(m,q)=>(s=q.modelProviders,{data:[]}),"
    "getCompatibleThreadSortKey:k=>k}};return w.listRecentThreads({cursor:null,limit:5}),s};"
)
#: What asks for other lists, and for this one, without being the place.
_OTHERS = (
    "class Va{async listRecentThreads({limit:e}){return(await this.sendRequest(`thread/list`,{archived:!1,cursor:null,"
    "limit:e,modelProviders:null,sortKey:`updated_at`},{priority:`background`})).data}"
    "async listArchivedThreads(){return this.listAllThreads({modelProviders:null,archived:!0})}"
    "async more(){let t=await this.listRecentThreads({limit:50,cursor:null,useStateDbOnly:!1});return t.data}}"
)
_COMPATIBLE = (
    "sortKey:this.params.requestClient.getCompatibleThreadSortKey(this.recentConversationSortKey)"
)

RECENTS = {
    "26.519": "class Wa{listRecentThreads({cursor:e,limit:t}){return this.params.requestClient.sendRequest(`thread/list`,"
    "{limit:t,cursor:e,sortKey:this.recentConversationSortKey,modelProviders:null,archived:!1,sourceKinds:[]})}}",
    "26.527": "class Wa{listRecentThreads({cursor:e,limit:t,useStateDbOnly:n=!1}){return this.params.requestClient."
    "sendRequest(`thread/list`,{limit:t,cursor:e,sortKey:this.recentConversationSortKey,modelProviders:null,"
    "archived:!1,sourceKinds:[],useStateDbOnly:n})}}",
    "26.707": _OTHERS
    + "class Wa{async listRecentThreads({cursor:e,limit:t,useStateDbOnly:n=!1,background:r=!1}){let i={limit:t,cursor:e,"
    + _COMPATIBLE
    + ",modelProviders:null,archived:!1,sourceKinds:[],useStateDbOnly:n},a=await this.params.requestClient."
    "sendRequest(`thread/list`,i,r?{priority:`background`}:{source:`recent_threads`});return{...a,data:a.data}}}",
    "26.818": _OTHERS
    + "class Wa{async listRecentThreads({cursor:e,limit:t,background:n=!1,useStateDbOnly:a=this.params.hostId!==``})"
    "{let r={limit:t,cursor:e,"
    + _COMPATIBLE
    + ",modelProviders:null,archived:!1,sourceKinds:[],useStateDbOnly:a},i=await this.params.requestClient."
    "sendRequest(`thread/list`,r,n?{priority:`background`}:{source:`recent_threads`});return{...i,data:i.data}}}",
}
RECENTS = {build: text + _RUN for build, text in RECENTS.items()}


def renamed(text: str) -> str:
    """The same code as another build's minifier would name it."""
    return re.sub(r"(?<![.\w$`])([a-z])(?![\w$`])", r"$\1_", text)
