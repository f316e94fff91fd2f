import sys; sys.path.insert(0,'/work/main/tests/api'); sys.path.insert(0,'/work/main/tests')
import base64, json, requests, pytest, time
from api_harness import start_api
from test_skymaps import CONE, VOEVENT, DATE
def test_probe(fresh_database, tmp_path):
    api=start_api(tmp_path/'a', fresh_database(), processes=1, skymaps={"hosts":["127.0.0.1"]}); api.wait_ready(); tok=api.log_in().json()['token']
    def call(label, m, body=None, params=None, raw=None):
        t=time.time()
        r=requests.request(m, api.url+'/api/skymap', data=raw if raw is not None else json.dumps(body) if body is not None else None, params=params, headers={'Authorization':tok}, timeout=120)
        print(label, r.status_code, r.text[:160], f'{time.time()-t:.1f}s')
    C=lambda **k: CONE|k
    call('bigint trig','PUT',C(triggerid=10**30)); call('bigtext trig','PUT',C(triggerid='9'*30)); call('5000 digits','PUT',C(triggerid='9'*5000))
    call('surrogate alias','PUT',raw=json.dumps(C(aliases=['\ud800'])).encode()); call('nul name','PUT',C(skymap={'ra':1,'dec':1,'error':1,'localization_name':'a\0b'}))
    call('surr name','PUT',C(skymap={'ra':1,'dec':1,'error':1,'localization_name':'\ud800'}))
    call('many aliases','PUT',C(aliases=['x'*1000+str(i) for i in range(20000)]))
    call('tiny cone','PUT',C(skymap={'ra':1,'dec':1,'error':1e-9})); call('thin ellipse','PUT',C(skymap={'localization_name':'e','ra':1,'dec':1,'amaj':50,'amin':1e-6,'phi':0}))
    call('thin polygon','PUT',C(skymap={'localization_name':'p','polygon':[[0,0],[20,0],[20,0.02],[0,0.02]]}))
    call('poly dec','PUT',C(skymap={'localization_name':'p','polygon':[[0,0],[20,1000],[20,0.02]]}))
    call('levels 20 noise','PUT',C(contours=[i*4+2 for i in range(20)], skymap={'localization_name':'n','uniq':list(range(4*4**6,16*4**6)),'probdensity':[((i*2654435761)%1000003)/1e6 for i in range(12*4**6)]}))
    call('get big','GET',params={'triggerid':'9'*30}); call('get surr','GET',raw=json.dumps({'alias':'\ud800'}).encode()); call('get date','GET',params={'dateobs':'0001-01-01T00:00:00+23:00'})
    v=lambda **k: VOEVENT.format(**({'ivorn':'x#1','ra':1,'dec':1,'error':1,'params':''}|k))
    call('vo trig 5000','PUT',{'voevent':v(params='<Param name="TrigID" value="%s"/>'%('9'*5000))}); call('vo trig 30','PUT',{'voevent':v(params='<Param name="TrigID" value="%s"/>'%('9'*30))})
    call('vo role','PUT',{'voevent':v().replace('role="observation"','role="nonsense"')}); call('vo enc','PUT',{'voevent':v().replace('version="1.0"','version="1.0" encoding="foo"',1)})
    call('vo ra','PUT',{'voevent':v(ra=999,dec=999)}); call('vo nopos','PUT',{'voevent':v().replace('Position2D','Pos')})
    call('vo deep','PUT',{'voevent':'<a>'*3000000}); call('vo urlhttp','PUT',{'voevent':v(ivorn='nasa/Fermi#1',params='<Param name="LightCurve_URL" value="http://heasarc.gsfc.nasa.gov/FTP/fermi/data/gbm/triggers/2018/bn180116678/quicklook/glg_lc_medres34_bn180116678.gif"/>')})
    call('url list','PUT',C(skymap={'url':['x']})); call('content list','PUT',C(skymap={'localization_name':'x','content':[1]}))
    call('uniq bigint','PUT',C(skymap={'localization_name':'x','uniq':[10**30],'probdensity':[1]})); call('uniq nested','PUT',C(skymap={'localization_name':'x','uniq':[[4]],'probdensity':[[1]]}))
    call('uniq dup','PUT',C(skymap={'localization_name':'xd','uniq':[4,4,16],'probdensity':[1,2,1]})); call('uniq float','PUT',C(skymap={'localization_name':'xf','uniq':[4.5,'5'],'probdensity':[1,'2']}))
    q=lambda **k: print('q',k, (lambda r:(r.status_code,r.text[:140]))(requests.post(api.url+'/api/queries',data=json.dumps({'query_type':'skymap','query':{'catalog':'Stars','filter':{},'skymap':k}}),headers={'Authorization':tok})))
    q(localization_name='x',trigger_id=10**30); q(localization_name='\ud800',dateobs=DATE); q(localization_name='n',dateobs=DATE,contour='90'); q(localization_name='n',dateobs=DATE,contour=50); q(localization_name='n',triggerid=5); q(localization_name='n',dateobs='x')
    print(open(api.log).read()[-3000:])
    api.process.kill()
